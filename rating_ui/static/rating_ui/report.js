// "Something is wrong with a clip": asked for in a dialog, sent at once, since the pair is skipped.

import { texts } from "./texts.js";

export class Report {
  constructor(api, screen, dialog) {
    Object.assign(this, { api, screen, dialog });
    this.form = dialog.querySelector("form");
  }

  /** What the dialog says, or null without a side; it is empty afterwards. */
  read() {
    const answers = new FormData(this.form);
    const [side, remark] = [answers.get("side"), answers.get("remark")];
    if (!side) return null;
    this.form.reset();
    return { side, remark };
  }

  /** True once the site has the report. */
  async send(report) {
    try {
      await this.api.send("POST", "reports", report);
    } catch (error) {
      this.screen.notice(texts.notReported(error.message));
      return false;
    }
    this.screen.notice(texts.reported, "ok");
    return true;
  }
}

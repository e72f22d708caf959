// What the browser remembers: a few settings, and what was heard of the pair being rated.

function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    storage.setItem(key, JSON.stringify(value));
  } catch {
    // no room or not allowed: nothing depends on it
  }
}

/** Settings under one key of localStorage. */
export class Settings {
  constructor(storage, key) {
    this.storage = storage;
    this.key = key;
    this.values = { keysAreOn: true, restartsOnSwitch: false, ...read(storage, key) };
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
    write(this.storage, this.key, this.values);
  }
}

/** What was heard of one assignment, so that a reload does not ask to hear it again. */
export class HeardMemory {
  constructor(storage, key) {
    this.storage = storage;
    this.key = key;
  }

  recall(assignment) {
    const kept = read(this.storage, this.key);
    return kept?.assignment === assignment ? kept.heard : { A: [], B: [] };
  }

  remember(assignment, listening) {
    write(this.storage, this.key, { assignment, heard: listening });
  }

  forget() {
    try {
      this.storage.removeItem(this.key);
    } catch {
      // not allowed: nothing was kept either
    }
  }
}

"""How much of an uploaded file is kept while a form is read."""

from django.core.files.uploadhandler import TemporaryFileUploadHandler

from attune.catalog.melodies import MAXIMUM_BYTES


class BoundedFileUploadHandler(TemporaryFileUploadHandler):
    """Keeps no more of a file than can be used, so that nobody fills the disk with one.

    Forms are read before it is known who sent them. The file's size is told whole.
    """

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Writes what still has room; the rest is passed over."""
        if start <= MAXIMUM_BYTES:
            self.file.write(raw_data[: MAXIMUM_BYTES + 1 - start])

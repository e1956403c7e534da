# What a refused head is called and which status it deserves: one table, indexed by ScanError.

cdef struct ErrorRow:
    int status
    const char* name

cdef ErrorRow ERRORS[E_COUNT]


cdef void name_error(int code, int status, const char* name) noexcept:
    ERRORS[code].status = status
    ERRORS[code].name = name


cdef void fill_errors() noexcept:
    name_error(0, 400, b"bad-request")
    name_error(E_METHOD, 400, b"method")
    name_error(E_TARGET, 400, b"target")
    name_error(E_VERSION, 400, b"version")
    name_error(E_VERSION_UNSUPPORTED, 505, b"version-unsupported")
    name_error(E_LINE_END, 400, b"line-end")
    name_error(E_TARGET_TOO_LONG, 414, b"target-too-long")
    name_error(E_HEAD_TOO_LARGE, 431, b"head-too-large")
    name_error(E_TOO_MANY_FIELDS, 431, b"too-many-fields")
    name_error(E_FIELD_NAME, 400, b"field-name")
    name_error(E_FIELD_VALUE, 400, b"field-value")
    name_error(E_FOLD, 400, b"fold")
    name_error(E_HOST_MISSING, 400, b"host-missing")
    name_error(E_HOST_REPEATED, 400, b"host-repeated")
    name_error(E_CONTENT_LENGTH, 400, b"content-length")
    name_error(E_CONTENT_LENGTH_REPEATED, 400, b"content-length-repeated")
    name_error(E_TRANSFER_ENCODING, 400, b"transfer-encoding")
    name_error(E_TRANSFER_CODING, 501, b"transfer-coding")
    name_error(E_TWO_LENGTHS, 400, b"two-lengths")
    name_error(E_STATUS_LINE, 400, b"status-line")
    name_error(E_AUTHORITY, 400, b"authority")
    name_error(E_HOST_MISMATCH, 400, b"host-mismatch")
    name_error(E_TARGET_FORM, 400, b"target-form")
    name_error(E_PATH, 400, b"path")


fill_errors()


cdef int scan_error_status(int error) noexcept nogil:
    """The HTTP status for a ScanError, given with either sign."""
    if error < 0:
        error = -error
    return ERRORS[error].status if error < E_COUNT else 400


cdef const char* scan_error_name(int error) noexcept nogil:
    """A short name for log and metrics, from a closed set."""
    if error < 0:
        error = -error
    return ERRORS[error if error < E_COUNT else 0].name


class HeadError(Exception):
    """A message head or target that is refused: `status` for the client, `name` for log and metrics."""

    def __init__(self, status, name):
        super().__init__(status, name)
        self.status = status
        self.name = name


cdef object head_error(int error):
    return HeadError(scan_error_status(error), scan_error_name(error).decode("ascii"))


SCAN_ERRORS = {ERRORS[code].name.decode("ascii"): ERRORS[code].status for code in range(1, E_COUNT)}

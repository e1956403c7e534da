# HTTP dates (RFC 9110 §5.6.7): three forms read, IMF-fixdate written. Names of days are checked to be names,
# not to fit the date; a leap second counts as the second behind it.

cdef const char* DAYS = b"SunMonTueWedThuFriSat"
cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"
cdef uint8_t DAYS_IN_MONTH[12]
DAYS_IN_MONTH[:] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

cdef struct Civil:
    int64_t year
    int month                   # 1..12
    int day
    int hour
    int minute
    int second


cdef inline int64_t floor_div(int64_t a, int64_t b) noexcept nogil:
    cdef int64_t q = a // b     # cdivision: truncated
    return q - 1 if a % b < 0 else q


cdef int64_t days_from_civil(int64_t year, int month, int day) noexcept nogil:
    """Days since 1970-01-01 in the Gregorian calendar; a year is counted from March, so that leap days come
    last."""
    cdef int64_t y = year - (month <= 2)
    cdef int64_t era = floor_div(y, 400)
    cdef int64_t year_of_era = y - era * 400
    cdef int64_t day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


cdef void civil_from_seconds(int64_t seconds, Civil* out) noexcept nogil:
    cdef int64_t days = floor_div(seconds, 86400)
    cdef int64_t rest = seconds - days * 86400
    cdef int64_t era, day_of_era, year_of_era, day_of_year, shifted
    out.hour = <int>(rest // 3600)
    out.minute = <int>(rest // 60 % 60)
    out.second = <int>(rest % 60)
    days += 719468
    era = floor_div(days, 146097)
    day_of_era = days - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    out.day = <int>(day_of_year - (153 * shifted + 2) // 5 + 1)
    out.month = <int>(shifted + 3 if shifted < 10 else shifted - 9)
    out.year = year_of_era + era * 400 + (out.month <= 2)


cdef inline int64_t seconds_of(const Civil* c) noexcept nogil:
    return days_from_civil(c.year, c.month, c.day) * 86400 + c.hour * 3600 + c.minute * 60 + c.second


cdef inline int digits_at(const uint8_t* p, int n) noexcept nogil:
    """n digits as a number, or -1."""
    cdef int value = 0
    cdef int i
    for i in range(n):
        if not CLASS[p[i]] & C_DIGIT:
            return -1
        value = value * 10 + p[i] - 0x30
    return value


cdef inline int index_of(const uint8_t* p, const char* table, int count) noexcept nogil:
    """Which three-letter name of the table stands at p, or -1."""
    cdef int i
    for i in range(count):
        if memcmp(p, table + 3 * i, 3) == 0:
            return i
    return -1


cdef inline bint clock_at(const uint8_t* p, Civil* out) noexcept nogil:
    """HH:MM:SS."""
    out.hour = digits_at(p, 2)
    out.minute = digits_at(p + 3, 2)
    out.second = digits_at(p + 6, 2)
    return (p[2] == 0x3A and p[5] == 0x3A and 0 <= out.hour <= 23 and 0 <= out.minute <= 59
            and 0 <= out.second <= 60)


cdef inline int64_t checked(const Civil* c) noexcept nogil:
    cdef bint leap = c.year % 4 == 0 and (c.year % 100 != 0 or c.year % 400 == 0)
    if c.month < 1 or c.day < 1 or c.year < 0 or c.day > DAYS_IN_MONTH[c.month - 1]:
        return INT64_MIN
    if c.month == 2 and c.day == 29 and not leap:
        return INT64_MIN
    return seconds_of(c)


cdef int64_t rfc850_date(const uint8_t* p, size_t n, int64_t now) noexcept nogil:
    """Weekday, DD-Mon-YY HH:MM:SS GMT. The year is the last one with these two digits that is not more than
    50 years ahead."""
    cdef Civil c, ahead
    cdef const uint8_t* comma = <const uint8_t*>memchr(p, 0x2C, n)
    cdef size_t name = comma - p
    cdef int two
    if comma == NULL or n - name != 24:
        return INT64_MIN
    if not ((name == 6 and (memcmp(p, b"Sunday", 6) == 0 or memcmp(p, b"Monday", 6) == 0
                            or memcmp(p, b"Friday", 6) == 0))
            or (name == 7 and memcmp(p, b"Tuesday", 7) == 0)
            or (name == 8 and (memcmp(p, b"Thursday", 8) == 0 or memcmp(p, b"Saturday", 8) == 0))
            or (name == 9 and memcmp(p, b"Wednesday", 9) == 0)):
        return INT64_MIN
    p = comma
    if p[1] != 0x20 or p[4] != 0x2D or p[8] != 0x2D or p[11] != 0x20 or memcmp(p + 20, b" GMT", 4) != 0:
        return INT64_MIN
    c.day = digits_at(p + 2, 2)
    c.month = index_of(p + 5, MONTHS, 12) + 1
    two = digits_at(p + 9, 2)
    if two < 0 or not clock_at(p + 12, &c):
        return INT64_MIN
    civil_from_seconds(now, &ahead)
    ahead.year += 50
    c.year = ahead.year - floor_mod100(ahead.year - two)
    if c.month >= 1 and seconds_of(&c) > seconds_of(&ahead):
        c.year -= 100
    return checked(&c)


cdef inline int64_t floor_mod100(int64_t value) noexcept nogil:
    return value - floor_div(value, 100) * 100


cdef int64_t parse_http_date(const char* value, size_t n, int64_t now) noexcept nogil:
    cdef const uint8_t* p = <const uint8_t*>value
    cdef Civil c
    if n == 29 and p[3] == 0x2C:
        if (p[4] != 0x20 or p[7] != 0x20 or p[11] != 0x20 or p[16] != 0x20 or memcmp(p + 25, b" GMT", 4) != 0
                or index_of(p, DAYS, 7) < 0 or not clock_at(p + 17, &c)):
            return INT64_MIN
        c.day = digits_at(p + 5, 2)
        c.month = index_of(p + 8, MONTHS, 12) + 1
        c.year = digits_at(p + 12, 4)
        return checked(&c)
    if n == 24 and p[3] == 0x20:
        if (p[7] != 0x20 or p[10] != 0x20 or p[19] != 0x20 or index_of(p, DAYS, 7) < 0
                or not clock_at(p + 11, &c)):
            return INT64_MIN
        c.month = index_of(p + 4, MONTHS, 12) + 1
        c.day = digits_at(p + 9, 1) if p[8] == 0x20 else digits_at(p + 8, 2)
        c.year = digits_at(p + 20, 4)
        return checked(&c)
    if 30 <= n <= 33:
        return rfc850_date(p, n, now)
    return INT64_MIN


cdef char* put_two(char* dst, int value) noexcept nogil:
    dst[0] = <char>(0x30 + value // 10)
    dst[1] = <char>(0x30 + value % 10)
    return dst + 2


cdef char* put_http_date(char* dst, int64_t seconds) noexcept nogil:
    cdef Civil c
    cdef int64_t weekday = floor_div(seconds, 86400) + 4
    civil_from_seconds(seconds, &c)
    weekday -= floor_div(weekday, 7) * 7
    dst = put_bytes(dst, DAYS + 3 * weekday, 3)
    dst = put_bytes(dst, b", ", 2)
    dst = put_two(dst, c.day)
    dst[0] = 0x20
    dst = put_bytes(dst + 1, MONTHS + 3 * (c.month - 1), 3)
    dst[0] = 0x20
    dst = put_two(dst + 1, <int>(c.year // 100 % 100))
    dst = put_two(dst, <int>(c.year % 100))
    dst[0] = 0x20
    dst = put_two(dst + 1, c.hour)
    dst[0] = 0x3A
    dst = put_two(dst + 1, c.minute)
    dst[0] = 0x3A
    dst = put_two(dst + 1, c.second)
    return put_bytes(dst, b" GMT", 4)


def _parse_http_date(bytes value not None, int64_t now):
    """Seconds since the epoch, or None for what is no HTTP-date; `now` (seconds) resolves two-digit years."""
    cdef int64_t found = parse_http_date(value, len(value), now)
    return None if found == INT64_MIN else found


def format_http_date(int64_t seconds):
    """IMF-fixdate of seconds since the epoch, years 1 to 9999 (else ValueError)."""
    cdef char dst[29]
    if not -62135596800 <= seconds <= 253402300799:
        raise ValueError("an HTTP-date has a year of four digits")
    put_http_date(dst, seconds)
    return dst[:29].decode("ascii")

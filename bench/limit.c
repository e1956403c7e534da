/* The speed limit of this machine: answers every request with the same ready bytes.
 *
 * It does what any HTTP server must (wait, read, find the end of the head, send) and nothing else: no parsing,
 * no store, no log. What it answers stands in the target, `/KIND/BYTES/NAME`; three bare marks in the head choose
 * another form of the ready head: `Range:` (206), `If-None-Match:` (304), `Connection: close`.
 */
#include "wire.h"

struct ready {
    char head[HEAD_ROOM];
    size_t head_len, body_len;
};

enum { FORMS = 16 };

static const char *STATUS[] = {"200 OK", "206 Partial Content", "304 Not Modified"};

/* The ready answer of this form; made the first time it is asked for. */
static struct ready *ready_for(size_t bytes, int status, int close_after) {
    static struct ready made[FORMS];
    static struct { size_t bytes; int status, close_after; } form[FORMS];
    static int count;
    for (int i = 0; i < count; i++)
        if (form[i].bytes == bytes && form[i].status == status && form[i].close_after == close_after)
            return &made[i];
    int i = count < FORMS ? count++ : 0;
    form[i].bytes = bytes;
    form[i].status = status;
    form[i].close_after = close_after;
    struct ready *r = &made[i];
    int n = snprintf(r->head, HEAD_ROOM,
        "HTTP/1.1 %s\r\nServer: limit\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "Content-Type: application/octet-stream\r\nCache-Control: public, max-age=86400\r\n"
        "ETag: \"bench\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nAge: 1\r\n%s",
        STATUS[status], close_after ? "Connection: close\r\n" : "");
    if (status != 2)
        n += snprintf(r->head + n, HEAD_ROOM - n, "Content-Length: %zu\r\n", bytes);
    n += snprintf(r->head + n, HEAD_ROOM - n, "\r\n");
    r->head_len = n;
    r->body_len = status == 2 ? 0 : bytes;
    return r;
}

static void answer(struct connection *c, const char *in, size_t length) {
    size_t bytes = bytes_of(in);
    int status = 0, close_after = 0;
    for (const char *p = memchr(in, '\n', length); p && p < in + length - 2; p = memchr(p, '\n', in + length - p)) {
        p++;
        if (*p == 'R' && memcmp(p, "Range: bytes=", 13) == 0) {
            char *dash;
            size_t first = strtoull(p + 13, &dash, 10);
            bytes = strtoull(dash + 1, NULL, 10) - first + 1;
            bytes = bytes > BODY_MAX ? BODY_MAX : bytes;
            status = 1;
        } else if (*p == 'I' && memcmp(p, "If-None-Match:", 14) == 0) {
            status = 2;
        } else if (*p == 'C' && memcmp(p, "Connection: close", 17) == 0) {
            close_after = 1;
        }
    }
    struct ready *r = ready_for(bytes, status, close_after);
    c->head = r->head;
    c->head_left = r->head_len;
    c->body = shared_body;
    c->body_left = r->body_len;
    c->closing = close_after;
}

/* The origin behind every cache that is measured: fast, keep-alive, one core.
 *
 *   GET /store/BYTES/NAME   BYTES of body with max-age, ETag and Last-Modified: may be stored
 *   GET /pass/BYTES/NAME    BYTES of body with no-store
 *   GET /count              how many requests were answered before this one, as text
 *
 * Ranges and conditions are ignored: a cache is expected to answer those itself.
 */
#include "wire.h"
#include <time.h>

static const char *now_text(void) {
    static time_t at;
    static char text[64];
    time_t now = time(NULL);
    if (now != at) {
        struct tm tm;
        at = now;
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    }
    return text;
}

static void answer(struct connection *c, const char *in, size_t length) {
    static char counted[32];
    size_t bytes;
    const char *fields = "Cache-Control: no-store\r\n";
    (void)length;
    c->body = shared_body;
    if (memcmp(in, "GET /count", 10) == 0) {
        bytes = snprintf(counted, sizeof counted, "%llu", requests);
        c->body = counted;
        requests--;                  /* asking does not count */
    } else {
        bytes = bytes_of(in);
        if (memcmp(in, "GET /store/", 11) == 0)
            fields = "Cache-Control: public, max-age=86400\r\nETag: \"bench\"\r\n"
                     "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    }
    c->head = c->own_head;
    c->head_left = snprintf(c->own_head, HEAD_ROOM,
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: %s\r\nContent-Type: application/octet-stream\r\n"
        "%sContent-Length: %zu\r\n\r\n", now_text(), fields, bytes);
    c->body_left = bytes;
}

# Varnish with malloc storage: the path alone says what is stored, as in the other configurations, so a request with
# cookies is looked up too (Varnish would pass it by default).
vcl 4.1;

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN@";
}

sub vcl_recv {
    if (req.url ~ "^/pass/") {
        return (pass);
    }
    return (hash);
}

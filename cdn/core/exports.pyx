# Python names of the wrappers whose C leaf has the same name: the leaf is not in the module's namespace, so
# they may be.

def _export(function):
    function.__name__ = function.__qualname__ = function.__name__.removeprefix("_")
    globals()[function.__name__] = function


for _wrapper in (
    _normal_path, _normal_authority, _etag_list_matches, _parse_range, _parse_http_date, _status_line,
    _list_has_token, _field_id, _hmac_sha256, _rendezvous_score,
):
    _export(_wrapper)
del _wrapper

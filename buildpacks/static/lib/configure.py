"""Turns static.json into a configuration for nginx, on standard output.

What is decided, in this order: HTTPS, files, clean URLs, proxies, redirects, routes, 404. Words
between @ are put in when the dyno starts. A mistake in static.json is told on standard error, the
first line as its title, and ends with 1; a key that is not known is only mentioned.
"""

import json
import re
import sys
from urllib.parse import urlsplit

KNOWN = {
    "root", "clean_urls", "https_only", "canonical_host", "routes", "redirects", "error_page",
    "headers", "proxies", "logging", "encoding", "basic_auth",
}
LEVELS = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"]


class Mistake(Exception):
    pass


def fail(title, *lines):
    raise Mistake("\n".join((title, "", *lines)))


def expect(value, kind, where):
    names = {str: "a text", bool: "true or false", dict: "an object"}
    if not isinstance(value, kind):
        fail(f"static.json: {where} must be {names[kind]}", f"It is {json.dumps(value)}.")
    return value


def quoted(text):
    """A text in quotes for nginx, in which ${NAME} means a config var and $ nothing."""
    if re.search(r"[\x00-\x1f@]", text):
        fail("static.json: a value has a character that cannot be used", f"It is in {text!r}.")
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    text = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", r"@ENV:\1@", text)
    return '"' + text.replace("$", "${senryu_dollar}") + '"'


def pattern(glob):
    """The expression of a path: * is one segment of it, ** any number of them."""
    parts = re.split(r"(\*\*|\*)", glob if glob.startswith("/") else "/" + glob)
    known = {"**": ".*", "*": "[^/]*"}
    expression = "".join(known.get(part) or re.escape(part) for part in parts)
    # As words of nginx's own, these would end the text or begin a variable.
    if re.search(r'[\x00-\x1f"@;{}]', expression):
        fail("static.json: a path has a character that cannot be used", f"It is in {glob!r}.")
    return expression


def table(source, name, rows):
    """A map from an expression to a quoted value; the first that fits holds."""
    lines = [f'  map {source} {name} {{', '    default "";']
    lines += [f'    "~^{expression}$" {value};' for expression, value in rows]
    return lines + ["  }"]


def routes(config):
    rows = []
    for glob, target in expect(config.get("routes", {}), dict, "routes").items():
        excepted = []
        if isinstance(target, dict):
            excepted = target.get("except", [])
            excepted = excepted if isinstance(excepted, list) else [excepted]
            target = target.get("path")
        path = expect(target, str, f"routes, {glob}").lstrip("/")
        for other in excepted:
            other = expect(other, str, f"routes, {glob}, except")
            # A folder stands for all that is in it.
            rows.append((pattern(other + "**" if other.endswith("/") else other), '""'))
        rows.append((pattern(glob), quoted("/" + path)))
    return table("$uri", "$senryu_route", rows)


def redirects(config):
    by_status = {}
    for glob, target in expect(config.get("redirects", {}), dict, "redirects").items():
        status = 301
        if isinstance(target, dict):
            status, target = target.get("status", 301), target.get("url")
        url = expect(target, str, f"redirects, {glob}, url")
        if status not in (301, 302, 303, 307, 308):
            fail(f"static.json: redirects, {glob}: {status} is no status of a redirect",
                 "It is 301, 302, 303, 307 or 308.")
        by_status.setdefault(status, []).append((pattern(glob), quoted(url)))
    maps, uses = [], []
    for status, rows in by_status.items():
        name = f"$senryu_redirect_{status}"
        maps += table("$uri", name, rows)
        uses += [f'      if ({name} != "") {{', f"        return {status} {name};", "      }"]
    return maps, uses


def headers(config):
    by_name = {}
    for glob, values in expect(config.get("headers", {}), dict, "headers").items():
        for name, value in expect(values, dict, f"headers, {glob}").items():
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
                fail(f"static.json: headers, {glob}: {name!r} is no name of a header")
            value = expect(value, str, f"headers, {glob}, {name}")
            by_name.setdefault(name, []).append((pattern(glob), quoted(value)))
    maps, uses = [], []
    for number, (name, rows) in enumerate(by_name.items()):
        # What comes later in the file holds against what comes before.
        maps += table("$senryu_path", f"$senryu_header_{number}", reversed(rows))
        uses.append(f"    add_header {name} $senryu_header_{number} always;")
    return maps, uses


def proxies(config):
    lines = []
    for number, (path, target) in enumerate(
            expect(config.get("proxies", {}), dict, "proxies").items()):
        origin = expect(target, dict, f"proxies, {path}").get("origin")
        origin = expect(origin, str, f"proxies, {path}, origin")
        if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", path):
            fail(f"static.json: proxies: {path!r} is no path", "It begins with / and is plain.")
        url = urlsplit(origin)
        variable = origin.startswith("${")
        if not variable and (url.scheme not in ("http", "https") or not url.hostname):
            fail(f"static.json: proxies, {path}: {origin!r} is no address",
                 "It begins with http:// or https://.")
        path = path if path.endswith("/") else path + "/"
        lines += [
            f"    location ^~ {path} {{",
            f"      try_files $uri @senryu_proxy_{number};",
            "    }",
            f"    location @senryu_proxy_{number} {{",
            f"      set $senryu_origin {quoted(origin.rstrip('/'))};",
            f"      if ($request_uri ~ ^{path}(.*)$) {{",
            "        set $senryu_rest $1;",
            "      }",
            "      proxy_pass $senryu_origin/$senryu_rest;",
            "      proxy_http_version 1.1;",
            "      proxy_set_header Connection \"\";",
            "      proxy_ssl_server_name on;",
            "      proxy_redirect off;",
            "    }",
        ]
    return lines


def configuration(config):
    root = expect(config.get("root", "public_html/"), str, "root").strip("/")
    if ".." in root.split("/"):
        fail("static.json: root leads out of the app", "It is a folder of the app: dist/")
    clean = expect(config.get("clean_urls", False), bool, "clean_urls")
    https = expect(config.get("https_only", False), bool, "https_only")
    host = expect(config.get("canonical_host", ""), str, "canonical_host")
    encoding = expect(config.get("encoding", "UTF-8"), str, "encoding")
    error_page = expect(config.get("error_page", ""), str, "error_page").lstrip("/")
    logging = expect(config.get("logging", {}), dict, "logging")
    access = expect(logging.get("access", True), bool, "logging, access")
    level = logging.get("error", "error")
    if level not in LEVELS:
        fail(f"static.json: logging, error: {level!r} is no level", "It is one of: " + ", ".join(LEVELS))
    redirect_maps, redirect_uses = redirects(config)
    header_maps, header_uses = headers(config)
    lines = [
        "daemon off;",
        "worker_processes @WORKERS@;",
        "pid @RUN@/pid;",
        f"error_log stderr {level};",
        "events {",
        "  worker_connections 1024;",
        "}",
        "http {",
        "  include @HOME@/.heroku/nginx/mime.types;",
        "  default_type application/octet-stream;",
        f"  charset {quoted(encoding)};",
        "  map_hash_bucket_size 256;",
        "  server_tokens off;",
        "  sendfile on;",
        "  gzip on;",
        "  gzip_comp_level 6;",
        "  gzip_min_length 512;",
        "  gzip_proxied any;",
        "  gzip_vary on;",
        "  gzip_types text/plain text/css text/javascript application/javascript"
        " application/json application/xml application/wasm image/svg+xml font/ttf;",
        # Longer than a router keeps a connection for reuse.
        "  keepalive_timeout 95s;",
        "  client_body_temp_path @RUN@/body;",
        "  proxy_temp_path @RUN@/proxy;",
        "  fastcgi_temp_path @RUN@/fastcgi;",
        "  uwsgi_temp_path @RUN@/uwsgi;",
        "  scgi_temp_path @RUN@/scgi;",
        '  log_format senryu \'$http_x_forwarded_for "$request" $status $body_bytes_sent\';',
        "  access_log /dev/stdout senryu;" if access else "  access_log off;",
        '  geo $senryu_dollar { default "$"; }',
        '  map $request_uri $senryu_path { "~^(?<senryu_found>[^?]*)" $senryu_found; }',
        *routes(config),
        *redirect_maps,
        *header_maps,
        "  server {",
        "    listen @PORT@;",
        f'    root "@HOME@{quoted("/" + root)[1:]};',
        "    index index.html index.htm;",
        "    absolute_redirect off;",
    ]
    if config.get("proxies"):
        lines += ["    resolver@RESOLVER@ valid=30s ipv6=off;"]
    if https:
        lines += ['    if ($http_x_forwarded_proto != "https") {',
                  "      return 301 https://$host$request_uri;", "    }"]
    if host:
        lines += [f"    if ($host != {quoted(host)}) {{",
                  f"      return 301 $http_x_forwarded_proto://{quoted(host)[1:-1]}$request_uri;",
                  "    }"]
    if expect(config.get("basic_auth", False), bool, "basic_auth"):
        lines += ['    auth_basic "Restricted";', "    auth_basic_user_file @PASSWORDS@;"]
    if error_page:
        lines += [f"    error_page 403 404 500 502 503 504 {quoted('/' + error_page)};"]
    lines += header_uses
    lines += [
        # Only what is meant for everybody: not .heroku, .profile.d or .git.
        r"    location ~ /\.(?!well-known/) {",
        "      return 404;",
        "    }",
        *proxies(config),
        "    location / {",
        "      try_files " + ("$uri.html " if clean else "") + "$uri $uri/ @senryu_rest;",
        "    }",
        "    location @senryu_rest {",
        *redirect_uses,
        "      try_files $senryu_route =404;",
        "    }",
        "  }",
        "}",
    ]
    return lines


def main():
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            config = json.load(file)
        expect(config, dict, "the file")
        lines = configuration(config)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        print(f"static.json is not valid JSON\n\n{error}\n\n"
              "No comments, no trailing commas. Repair it, commit, and push again.", file=sys.stderr)
        return 1
    except Mistake as mistake:
        print(f"{mistake}\n\nChange it, commit, and push again.", file=sys.stderr)
        return 1
    for key in sorted(set(config) - KNOWN):
        print(f'"{key}" is nothing that this buildpack knows; it is left out.', file=sys.stderr)
    print("\n".join(lines))
    return 0


sys.exit(main())

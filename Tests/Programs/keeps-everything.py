"""A store whose key may not delete, in front of a REST server: keeps-everything.py SERVER-PORT PORT, on loopback."""
import http.client, http.server, sys


class Handler(http.server.BaseHTTPRequestHandler):
    def body(self):
        if 'chunked' not in self.headers.get('Transfer-Encoding', ''):
            return self.rfile.read(int(self.headers.get('Content-Length', 0)))
        whole = b''
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        return whole

    def do_GET(self):
        body = self.body()
        if self.command == 'DELETE':
            return self.send_error(403)
        server = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
        server.request(self.command, self.path, body, {name: self.headers[name] for name in ('Accept', 'Range') if name in self.headers})
        answer = server.getresponse()
        body = answer.read()
        self.send_response(answer.status)
        for name in ('Content-Type', 'Content-Length', 'Content-Range'):
            if answer.getheader(name):
                self.send_header(name, answer.getheader(name))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_HEAD = do_DELETE = do_GET

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[2])), Handler).serve_forever()

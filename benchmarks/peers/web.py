"""The site of the whole crawl: a program of its own, whose work nobody counts. Prints its port, then serves."""

from __future__ import annotations

import asyncio

CHAIN = 50  # pages that lead from one to the next


class Site(asyncio.Protocol):
    """HTTP/1.1 with persistent connections, as little of it as Scrapy needs."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._transport.write(_answer(head.split(b" ", 2)[1]))


def _answer(path: bytes) -> bytes:
    """``/p/3/14`` is page 14 of chain 3; it leads to page 15. Nothing else exists, such as a browser's icon."""
    if not path.startswith(b"/p/"):
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    _, _, chain, number = path.decode("ascii").split("/")
    page = int(number)
    link = f'<a href="/p/{chain}/{page + 1}">next</a>' if page + 1 < CHAIN else ""
    body = f"<html><title>Page {page}</title><p>{'x' * 2000}</p>{link}</html>".encode()
    cookie = ""
    if page % 10 == 0:
        cookie = f"Set-Cookie: c{int(chain) % 10}=value-{chain}-{page}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly\r\n"
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{cookie}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Site, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

/** Forked with a server's address and a number: so many HTTP/2 connections, each of which made one call and stays. */
import { connect } from "node:net";
import { callHead, FLAG, greeting } from "../../testkit/http2-frames.ts";

const [url = "", count = "1"] = process.argv.slice(2);
const { hostname: host, port } = new URL(url);
const AT_ONCE = 50;
const HELLO = Buffer.concat([greeting(), callHead(1, "/nothing", FLAG.endHeaders | FLAG.endStream)]);

function open(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port) });
    socket.on("error", reject).on("close", () => reject(new Error("closed")));
    socket.write(HELLO);
    setTimeout(resolve, 20);
    socket.resume();
  });
}

for (let at = 0; at < Number(count); at += AT_ONCE) {
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, Number(count) - at) }, open));
}
process.send?.("open");
process.on("disconnect", () => process.exit());

import type { TcpProxy } from "../../testkit/tcp-proxy.ts";

/** Several proxies that break together, such as the ways to several hosts; or none. `port` is that of the first, or 0. */
export function joinLinks(links: readonly TcpProxy[]): TcpProxy {
  const each = (act: (link: TcpProxy) => void) => {
    for (const link of links) act(link);
  };
  const all = async (act: (link: TcpProxy) => Promise<void>) => void (await Promise.all(links.map(act)));
  return {
    port: links[0]?.port ?? 0,
    lead: () => {
      throw new Error("joined links lead to several servers; call lead() of one of them");
    },
    connectionCount: () => links.reduce((sum, link) => sum + link.connectionCount(), 0),
    hang: () => each((link) => link.hang()),
    reset: () => each((link) => link.reset()),
    latency: (ms) => each((link) => link.latency(ms)),
    swallow: () => each((link) => link.swallow()),
    halfClose: () => each((link) => link.halfClose()),
    refuse: () => all((link) => link.refuse()),
    resume: () => all((link) => link.resume()),
    close: () => all((link) => link.close()),
  };
}

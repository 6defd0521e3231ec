/** Runs statements, one after another. */
interface Queryable {
  query(...args: never[]): unknown;
}

/**
 * The same client, which remembers the first error of a statement: the statements after it in its transaction say only
 * that the transaction is broken.
 */
export function observeErrors<Client extends Queryable>(
  client: Client,
): { readonly observed: Client; readonly firstError: () => unknown } {
  let first: unknown;
  const query = (...args: readonly unknown[]) => {
    const answer: Promise<unknown> = Reflect.apply(client.query, client, args);
    answer.catch((error: unknown) => {
      first ??= error;
    });
    return answer;
  };
  const get = (target: Client, name: string | symbol): unknown =>
    name === "query" ? query : Reflect.get(target, name, target);
  return { observed: new Proxy(client, { get }), firstError: () => first };
}

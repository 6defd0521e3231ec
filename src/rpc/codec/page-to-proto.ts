import { type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";

/** A page ends here even if it is short: clients refuse messages above 4 MiB. */
const PAGE_BYTES = 1024 * 1024;

export interface Page<Row> {
  readonly rows: readonly Row[];
  /** Whether rows remain after the last one. */
  readonly more: boolean;
  /** The token that goes on after a row. */
  readonly tokenAfter: (row: Row) => string;
  /**
   * Called with each row that cannot be shown, and the reason. The page leaves the row out, so that it can show the
   * others.
   */
  readonly onLeftOut: (row: Row, error: unknown) => void;
}

/** The messages of as many rows as fit into one page, at least one if it can be shown, and the token for the next page. */
export function pageToProto<Row, Schema extends DescMessage>(
  page: Page<Row>,
  schema: Schema,
  toProto: (row: Row) => MessageShape<Schema>,
): { readonly messages: MessageShape<Schema>[]; readonly nextPageToken: string } {
  const messages: MessageShape<Schema>[] = [];
  let bytes = 0;
  let last: Row | undefined;
  for (const row of page.rows) {
    try {
      const message = toProto(row);
      bytes += toBinary(schema, message).length;
      if (bytes > PAGE_BYTES && last !== undefined) return { messages, nextPageToken: page.tokenAfter(last) };
      messages.push(message);
    } catch (error) {
      page.onLeftOut(row, error);
    }
    last = row;
  }
  return { messages, nextPageToken: page.more && last !== undefined ? page.tokenAfter(last) : "" };
}

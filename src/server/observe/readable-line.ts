import { styleText } from "node:util";

/** Properties that the line shows in front, or not at all. */
const SHOWN_APART: ReadonlySet<string> = new Set(["level", "time", "msg", "event", "err"]);
const LEVEL_WIDTH = 5;

const LEVEL_STYLES = {
  trace: "dim",
  debug: "dim",
  info: "green",
  warn: "yellow",
  error: "red",
  fatal: "red",
} as const;

/**
 * Turns a line of the JSON log into one for people: local time, level, message, then the other properties as
 * `name=value`, and the stack of an error below it. A line that is not a JSON object stays as it is.
 */
export function readableLine(line: string, { isColoured }: { readonly isColoured: boolean }): string {
  const entry = parse(line);
  if (entry === undefined) return line;
  const paint = (style: Parameters<typeof styleText>[0], text: string) =>
    isColoured ? styleText(style, text, { validateStream: false }) : text;
  const { level, time, msg, event, err } = entry;
  const levelName = String(level);
  const style = LEVEL_STYLES[levelName as keyof typeof LEVEL_STYLES] ?? "dim";
  const rest = Object.entries(entry)
    .filter(([name]) => !SHOWN_APART.has(name))
    .map(([name, value]) =>
      paint("dim", `${name}=${typeof value === "string" ? quoted(value) : JSON.stringify(value)}`),
    );
  const what = event === undefined || event === msg ? String(msg) : `${event}: ${msg}`;
  const head = [paint("dim", clockTime(time)), paint(style, levelName.toUpperCase().padEnd(LEVEL_WIDTH)), what];
  return `${[...head, ...rest].join(" ")}${stackOf(err)}\n`;
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Hours to milliseconds in the local time zone. */
function clockTime(time: unknown): string {
  const date = new Date(String(time));
  if (Number.isNaN(date.getTime())) return String(time);
  const digits = (value: number, length = 2) => String(value).padStart(length, "0");
  const [hours, minutes, seconds] = [date.getHours(), date.getMinutes(), date.getSeconds()];
  return `${digits(hours)}:${digits(minutes)}:${digits(seconds)}.${digits(date.getMilliseconds(), 3)}`;
}

/** JSON escapes control characters, so that no value can move the cursor of a terminal. */
function quoted(value: string): string {
  return /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value);
}

function stackOf(err: unknown): string {
  if (typeof err !== "object" || err === null) return "";
  const { stack, message } = err as { readonly stack?: unknown; readonly message?: unknown };
  const text = String(stack ?? message ?? "");
  return text === "" ? "" : `\n  ${text.replaceAll(/[^\P{Cc}\n\t]/gu, "").replaceAll("\n", "\n  ")}`;
}

export function shortenImports(): void;

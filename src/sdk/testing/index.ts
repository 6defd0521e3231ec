/**
 * A verifier for tests of services, without a server, a network or a clock.
 *
 * @packageDocumentation
 */
export { type AskedQuestion, type FakeKey, FakeVerifier } from "./fake-verifier.ts";

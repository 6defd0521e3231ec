/**
 * A verifier for tests of services: no server, no network, no clock.
 *
 * @packageDocumentation
 */
export { type AskedQuestion, type FakeKey, FakeVerifier } from "./fake-verifier.ts";

/**
 * The contract for TypeScript clients: the services `KeyManagement` and `KeyVerifier`, and their messages, to be used
 * with `createClient` of `@connectrpc/connect`.
 */
export * from "#gen/claviger/v1/audit_pb.js";
export * from "#gen/claviger/v1/error_reason_pb.js";
export * from "#gen/claviger/v1/key_management_pb.js";
export * from "#gen/claviger/v1/key_pb.js";
export * from "#gen/claviger/v1/key_verifier_pb.js";
export * from "#gen/claviger/v1/node_pb.js";
export * from "#gen/claviger/v1/options_pb.js";
export * from "#gen/claviger/v1/usage_pb.js";

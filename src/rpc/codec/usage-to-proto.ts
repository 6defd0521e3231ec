import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import {
  type QueryUsageRequest,
  type QueryUsageResponse,
  QueryUsageResponseSchema,
  UsageDimension,
  UsageStep,
} from "#gen/claviger/v1/usage_pb.js";
import { invalidField } from "../../keys/errors.ts";
import type {
  UsageDimension as DimensionName,
  QueryUsage,
  UsageStep as StepName,
  Usage,
} from "../../manage/query-usage.ts";
import { instantFromProto, nameOf } from "./from-proto.ts";

const STEPS: Readonly<Record<StepName, UsageStep>> = {
  minute: UsageStep.MINUTE,
  hour: UsageStep.HOUR,
  day: UsageStep.DAY,
};

const DIMENSIONS: Readonly<Record<DimensionName, UsageDimension>> = {
  verdict: UsageDimension.VERDICT,
  method: UsageDimension.METHOD,
  version: UsageDimension.SECRET_VERSION,
  key: UsageDimension.KEY,
};

/** The name of each dimension in `UsagePoint.group`. */
const GROUP_NAMES: Readonly<Record<DimensionName, string>> = {
  verdict: "verdict",
  method: "method",
  version: "secret_version",
  key: "key",
};

export function usageFromProto(request: QueryUsageRequest): QueryUsage {
  const { keyId, owner, groupBy } = request;
  return {
    ...{ keyId, owner },
    startTime: required("start_time", instantFromProto(request.startTime)),
    endTime: required("end_time", instantFromProto(request.endTime)),
    step: nameOf(STEPS, request.step) ?? "hour",
    groupBy: groupBy.flatMap((dimension) => nameOf(DIMENSIONS, dimension) ?? []),
  };
}

export function usageToProto({ points, total, groupBy }: Usage): QueryUsageResponse {
  return create(QueryUsageResponseSchema, {
    points: points.map(({ startTime, group, count }) => ({
      startTime: timestampFromDate(startTime),
      group: Object.fromEntries(groupBy.map((dimension, at) => [GROUP_NAMES[dimension], shown(dimension, group[at])])),
      count: BigInt(count),
    })),
    total: BigInt(total),
  });
}

/** Verdicts as the enum's names. */
function shown(dimension: DimensionName, value = ""): string {
  return dimension === "verdict" ? `VERDICT_${value.toUpperCase()}` : value;
}

function required<Value>(field: string, value: Value | undefined): Value {
  if (value === undefined) throw invalidField(field, "is required");
  return value;
}

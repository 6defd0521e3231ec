import { type DescEnum, type EnumShape, enumFromJson, isEnumJson } from "@bufbuild/protobuf";

/** A value for people: `REVOCATION_REASON_OWNER_LEFT` is `owner-left`. */
export function enumName(schema: DescEnum, value: number): string {
  return schema.value[value]?.localName.toLowerCase().replaceAll("_", "-") ?? String(value);
}

/** The names that people may give; not that of the unspecified value. */
export function enumNames(schema: DescEnum): string[] {
  return schema.values.filter(({ number }) => number !== 0).map(({ number }) => enumName(schema, number));
}

/** The value of a name that people give; the unspecified one if there is none. */
export function enumValue<Desc extends DescEnum>(schema: Desc, name: string | undefined): EnumShape<Desc> {
  const value = schema.values.find(({ number }) => enumName(schema, number) === name) ?? schema.values[0];
  if (!isEnumJson(schema, value?.name)) throw new Error(`${schema.typeName} has no values`);
  return enumFromJson(schema, value.name);
}

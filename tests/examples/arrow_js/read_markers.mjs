// Mean NDVI of all parcels by acquisition: node read_markers.mjs FILE.arrow
// With --json all values of the file as JSON, null where nothing is known.
import { readFileSync } from "node:fs";
import { tableFromIPC } from "apache-arrow";

const [file, option] = process.argv.slice(2);
const markers = tableFromIPC(readFileSync(file));

if (option === "--json") {
  const columns = Object.fromEntries(
    markers.schema.fields.map((field) => [field.name, Array.from(markers.getChild(field.name))]),
  );
  const units = Object.fromEntries(markers.schema.fields.map((field) => [field.name, field.metadata.get("unit")]));
  // JSON has no NaN: JSON.stringify writes null.
  console.log(JSON.stringify({ metadata: Object.fromEntries(markers.schema.metadata), units, columns }));
} else {
  for (const { name } of markers.schema.fields.filter((field) => field.name.startsWith("s2_ndvi_mean__"))) {
    const known = Array.from(markers.getChild(name)).filter((value) => !Number.isNaN(value));
    console.log(`${name},${(known.reduce((sum, value) => sum + value, 0) / known.length).toPrecision(12)}`);
  }
}

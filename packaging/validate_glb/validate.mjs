// node validate.mjs FILE…: the Khronos validator's report on each file, one JSON object per line.
// Exit code 1 when a file has errors. Set up once with `npm ci` in this folder.
import { readFile } from "node:fs/promises";
import validator from "gltf-validator";

let errors = 0;
for (const path of process.argv.slice(2)) {
  const bytes = new Uint8Array(await readFile(path));
  const report = await validator.validateBytes(bytes, { uri: path, maxIssues: 100 });
  errors += report.issues.numErrors;
  console.log(JSON.stringify(report));
}
process.exitCode = errors > 0 ? 1 : 0;

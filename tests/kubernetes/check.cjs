// Holds the manifests on standard input, a JSON array, against the schemas of
// Kubernetes in node_modules beside it. They let members pass that they do not name.
const faults = [];
for (const manifest of JSON.parse(require("fs").readFileSync(0))) {
  const { apiVersion, kind } = manifest;
  const model = require(`kubernetes-models/${apiVersion}/${kind}`)[kind];
  try {
    new model(manifest).validate();
  } catch (error) {
    faults.push(`${kind}: ${error.message}`);
  }
}
console.log(faults.join("\n"));
process.exit(faults.length ? 1 : 0);

// Loads a model and saves it again, both by TensorFlow.js: node tfjs_save.js MAIN MODEL.json FOLDER

'use strict';

const fs = require('fs');
const path = require('path');

async function main([main, source, target]) {
  const tf = require(main);
  await tf.setBackend('cpu');
  const {modelTopology, weightsManifest} = JSON.parse(fs.readFileSync(source, 'utf8'));
  const names = weightsManifest.flatMap((group) => group.paths);
  const files = names.map((name) => fs.readFileSync(path.join(path.dirname(source), name)));
  const weightData = new Uint8Array(Buffer.concat(files)).buffer;
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const load = async () => ({modelTopology, weightSpecs, weightData});
  const model = await tf.loadLayersModel({load});
  await model.save(tf.io.withSaveHandler(async (saved) => {
    const {modelTopology, format, generatedBy, convertedBy} = saved;
    const manifest = [{paths: ['weights.bin'], weights: saved.weightSpecs}];
    const document = {modelTopology, format, generatedBy, convertedBy, weightsManifest: manifest};
    fs.mkdirSync(target, {recursive: true});
    fs.writeFileSync(path.join(target, 'model.json'), JSON.stringify(document));
    fs.writeFileSync(path.join(target, 'weights.bin'), Buffer.from(saved.weightData));
    return {modelArtifactsInfo: {dateSaved: new Date(), modelTopologyType: 'JSON'}};
  }));
}

main(process.argv.slice(2));

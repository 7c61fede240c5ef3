// What TensorFlow.js computes: asked by rnn-parity in one folder, answered in the same.
//
//   node run.js find           prints which @tensorflow/tfjs there is, as JSON
//   node run.js answer FOLDER  reads question.json and question.bin, writes answer.json, answer.bin
//
// Arrays stand one after the other in the .bin files, little-endian; the .json files say where.

'use strict';

const fs = require('fs');
const path = require('path');

const PACKAGE = '@tensorflow/tfjs';
const TYPES = {float32: Float32Array, int32: Int32Array, bool: Uint8Array, uint8: Uint8Array};

// Which package there is: from the current folder upwards, then in NODE_PATH.

function find() {
  let main;
  try {
    main = require.resolve(PACKAGE, {paths: [process.cwd()]});
  } catch (error) {
    return null;
  }
  for (let folder = path.dirname(main); folder !== path.dirname(folder);) {
    const described = path.join(folder, 'package.json');
    if (fs.existsSync(described)) {
      const {name, version} = JSON.parse(fs.readFileSync(described, 'utf8'));
      if (name === PACKAGE) return {main, version};
    }
    folder = path.dirname(folder);
  }
  return null;
}

// Files to arrays and back.

function readQuestion(folder) {
  const question = JSON.parse(fs.readFileSync(path.join(folder, 'question.json'), 'utf8'));
  const bytes = fs.readFileSync(path.join(folder, 'question.bin'));
  const arrays = {};
  for (const [name, {dtype, shape, offset}] of Object.entries(question.arrays)) {
    const type = TYPES[dtype];
    const size = shape.reduce((n, m) => n * m, 1) * type.BYTES_PER_ELEMENT;
    const start = bytes.byteOffset + offset;
    arrays[name] = {dtype, shape, data: new type(bytes.buffer.slice(start, start + size))};
  }
  return {question, arrays};
}

function writeAnswer(folder, answer, arrays) {
  const places = {}, parts = [];
  let offset = 0;
  for (const [name, {dtype, shape, data}] of Object.entries(arrays)) {
    places[name] = {dtype, shape, offset};
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  fs.writeFileSync(path.join(folder, 'answer.bin'), Buffer.concat(parts));
  fs.writeFileSync(path.join(folder, 'answer.json'), JSON.stringify({...answer, arrays: places}));
}

// A copy: the tensor may be disposed of before it is written.
function copied(tensor) {
  return {dtype: tensor.dtype, shape: tensor.shape, data: tensor.dataSync().slice()};
}

function asTensor(tf, {dtype, shape, data}) {
  return tf.tensor(data, shape, dtype);
}

function list(value) {
  return Array.isArray(value) ? value : value == null ? [] : [value];
}

function call(tf, layer, arrays) {
  const options = {};
  if (arrays.mask) options.mask = asTensor(tf, arrays.mask);
  const states = [0, 1].map((i) => arrays[`state/${i}`]).filter(Boolean);
  if (states.length) options.initialState = states.map((one) => asTensor(tf, one));
  const found = list(layer.apply(asTensor(tf, arrays.inputs), options));
  const answer = {outputs: copied(found[0])};
  found.slice(1).forEach((state, i) => { answer[`state/${i}`] = copied(state); });
  return answer;
}

// A layer: built from its options, given its weights, and called.

function layerTask(tf, question, arrays) {
  let layer = tf.layers[question.kind](question.config);
  if (question.bidirectional) layer = tf.layers.bidirectional({layer, mergeMode: 'concat'});
  const [, timesteps, features] = arrays.inputs.shape;
  layer.apply(tf.input({shape: [timesteps, features]})); // builds it
  layer.setWeights(question.weights.map((name) => asTensor(tf, arrays[name])));
  return {answer: {}, arrays: call(tf, layer, arrays)};
}

// A model: loaded, and told what it takes.

async function loaded(tf, question, arrays) {
  const {topology, specs} = question;
  const weightData = arrays.weights.data.buffer;
  const handler = {load: async () => ({modelTopology: topology, weightSpecs: specs, weightData})};
  return tf.loadLayersModel(handler);
}

function children(layer) {
  return Array.isArray(layer.layers) ? layer.layers : [];
}

// Every layer with its path, those of nested models too: 'inner/lstm'.
function* within(container, prefix = '') {
  for (const layer of children(container)) {
    yield [prefix + layer.name, layer];
    yield* within(layer, `${prefix}${layer.name}/`);
  }
}

function readers(model, tensor) {
  const found = {};
  for (const layer of model.layers) {
    if (!layer.inboundNodes.some((node) => node.inputTensors.includes(tensor))) continue;
    if (layer.getClassName() === 'Embedding') found.rows = layer.inputDim;
    if (layer.getClassName() === 'Masking') found.masked = layer.maskValue;
  }
  return found;
}

/** The names of a model's inputs, which a Sequential model of an older Keras does not have. */
function inputNames(model) {
  return model.inputs.map((one, i) => (model.inputNames || [])[i] || one.name || `input_${i}`);
}

async function describeTask(tf, question, arrays) {
  const model = await loaded(tf, question, arrays);
  const inputs = model.inputs.map((one, i) => (
    {name: inputNames(model)[i], shape: one.shape, dtype: one.dtype, ...readers(model, one)}
  ));
  return {answer: {inputs}, arrays: {}};
}

// A model, run: what reached every recurrent layer in it, and what that made of it.

class Recorder {
  constructor(tf, model) {
    this.tf = tf;
    this.calls = [];
    this.values = {};
    this.masks = new Map(); // of tensors, by their ids, as the layers that made them say
    this.reached = []; // the masks of the inputs of the layers that are being applied
    for (const layer of model.layers) this.follow(layer);
    this.once = []; // the paths of what a model is to call once
    const calledOnce = model.layers.filter((layer) => layer.inboundNodes.length === 1);
    for (const {name} of calledOnce) {
      this.once.push(name, `${name}/forward`, `${name}/backward`, `${name}/merge`);
    }
    for (const [name, layer] of within(model)) this.tapAny(name, layer);
  }

  // The mask that an input carries: the executor also hands on masks of earlier layers.
  follow(layer) {
    const {masks, reached, values} = this;
    const apply = layer.apply.bind(layer), computeMask = layer.computeMask.bind(layer);
    let outputs = []; // of a call that has ended: in it, a layer asks itself for no mask's mask
    layer.apply = (inputs, kwargs) => {
      outputs = [];
      reached.push(masks.get(list(inputs)[0].id) || null);
      try {
        const found = apply(inputs, kwargs);
        outputs = list(found);
        values[layer.name] = copied(outputs[0]);
        return found;
      } finally {
        reached.pop();
      }
    };
    layer.computeMask = (inputs, mask) => {
      const found = computeMask(inputs, mask), first = list(found)[0];
      if (first && outputs.length) masks.set(outputs[0].id, copied(first));
      return found;
    };
  }

  tapAny(name, layer) {
    const kind = layer.getClassName();
    if (kind === 'Bidirectional') {
      this.tap(`${name}/forward`, layer.forwardLayer);
      this.tap(`${name}/backward`, layer.backwardLayer);
      this.tapWrapper(`${name}/merge`, layer);
    } else if (['SimpleRNN', 'LSTM', 'GRU'].includes(kind)) {
      this.tap(name, layer);
    }
  }

  tap(name, layer) {
    const original = layer.call.bind(layer);
    layer.call = (inputs, kwargs = {}) => {
      const given = list(kwargs.initialState || (layer.stateful ? layer.states : []));
      const record = this.record(name, list(inputs)[0], kwargs.mask, given);
      if (!layer.returnSequences) {
        const [whole] = this.asSequence(layer, original, inputs, kwargs, given);
        record.outputs = copied(whole);
      }
      const found = original(inputs, kwargs), [first, ...returned] = list(found);
      record[layer.returnSequences ? 'outputs' : 'last_output'] = copied(first);
      const states = layer.returnState ? returned : layer.stateful ? layer.states : [];
      states.forEach((state, i) => { record[`final/${i}`] = copied(state); });
      return found;
    };
  }

  // The same call once more, for the outputs of all timesteps.
  asSequence(layer, original, inputs, kwargs, given) {
    const {returnSequences, _stateful} = layer;
    layer.returnSequences = true;
    layer._stateful = false;
    const initialState = given.length ? given.map((state) => state.clone()) : undefined;
    try {
      return list(original(inputs, {...kwargs, initialState}));
    } finally {
      layer.returnSequences = returnSequences;
      layer._stateful = _stateful;
    }
  }

  tapWrapper(name, layer) {
    const original = layer.call.bind(layer);
    layer.call = (inputs, kwargs = {}) => {
      const given = list(kwargs.initialState);
      const record = this.record(name, list(inputs)[0], kwargs.mask, given);
      const found = original(inputs, kwargs);
      list(found).forEach((one, i) => { record[`returned/${i}`] = copied(one); });
      return found;
    };
  }

  record(name, inputs, mask, states) {
    const one = {name, inputs: copied(inputs)};
    const handed = list(mask)[0], [carried] = this.reached.slice(-1);
    if (handed) one.handed_mask = copied(handed);
    if (carried) one.mask = carried;
    states.forEach((state, i) => { one[`state/${i}`] = copied(state); });
    this.calls.push(one);
    return one;
  }
}

function inputsOf(tf, model, question, arrays) {
  const known = question.inputs, own = inputNames(model);
  const byName = own.every((name) => known.includes(name));
  const names = byName ? own : known;
  return names.map((name, i) => (
    asTensor(tf, {...arrays[`input/${known.indexOf(name)}`], dtype: model.inputs[i].dtype})
  ));
}

async function modelTask(tf, question, arrays) {
  const model = await loaded(tf, question, arrays);
  const recorder = new Recorder(tf, model);
  const inputs = inputsOf(tf, model, question, arrays);
  const outputs = list(model.predictOnBatch(inputs.length > 1 ? inputs : inputs[0]));
  const found = {};
  outputs.forEach((one, i) => { found[`output/${i}`] = copied(one); });
  recorder.calls.forEach((record, i) => {
    for (const [name, value] of Object.entries(record)) {
      if (name !== 'name') found[`call/${i}/${name}`] = value;
    }
  });
  for (const [name, value] of Object.entries(recorder.values)) found[`value/${name}`] = value;
  const calls = recorder.calls.map((record) => record.name);
  return {answer: {calls, once: recorder.once}, arrays: found};
}

// One layer of a model, by itself.

async function aloneTask(tf, question, arrays) {
  const model = await loaded(tf, question, arrays);
  const [, layer] = [...within(model)].find(([name]) => name === question.name);
  const side = layer[`${question.side}Layer`] || layer;
  // A Bidirectional builds its layers without saying so to them.
  Object.assign(side, {built: true, returnSequences: true, returnState: true, _stateful: false});
  return {answer: {}, arrays: call(tf, side, arrays)};
}

const TASKS = {layer: layerTask, describe: describeTask, model: modelTask, alone: aloneTask};

async function answer(folder) {
  const {question, arrays} = readQuestion(folder);
  let found;
  try {
    const tf = require(question.tfjs);
    await tf.setBackend('cpu');
    found = await TASKS[question.task](tf, question, arrays);
  } catch (error) {
    const message = String((error && error.message) || error);
    found = {answer: {error: message}, arrays: {}};
  }
  writeAnswer(folder, found.answer, found.arrays);
}

const [task, folder] = process.argv.slice(2);
if (task === 'find') process.stdout.write(JSON.stringify(find()));
else answer(folder);

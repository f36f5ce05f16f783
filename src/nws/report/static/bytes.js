// Packed arrays of packing.py -> typed arrays. Files are little-endian, as are all machines with a browser today.

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
const MISSING = 65535;

export function unpack(packed) {
  const text = atob(packed.b64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new TYPES[packed.type](bytes.buffer);
}

// Quantised floats -> Float32Array; what is missing becomes NaN.
export function dequantise(packed) {
  const codes = unpack(packed);
  const scale = (packed.high - packed.low) / (MISSING - 1);
  return Float32Array.from(codes, (code) => (code === MISSING ? NaN : packed.low + code * scale));
}

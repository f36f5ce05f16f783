// What the reader has chosen. Views tell what they listen to; a change calls them once.

export function makeState(initial) {
  const values = { ...initial };
  const listeners = [];
  return {
    get: (name) => values[name],
    set(changes) {
      const changed = Object.keys(changes).filter((name) => values[name] !== changes[name]);
      Object.assign(values, changes);
      for (const [names, call] of listeners) if (names.some((name) => changed.includes(name))) call();
    },
    on(names, call) {
      listeners.push([names, call]);
    },
  };
}

// Which nets pass all filters: options taken away per category, ranges per number. -> Uint8Array (N,)
export function passing(nets, filters) {
  const mask = new Uint8Array(nets.count).fill(1);
  for (const [name, filter] of Object.entries(filters)) {
    const { values } = nets.byName.get(name);
    for (let n = 0; n < nets.count; n++) {
      const out = filter.hidden ? filter.hidden.includes(values[n]) : !(values[n] >= filter.low && values[n] <= filter.high);
      if (out) mask[n] = 0;
    }
  }
  return mask;
}

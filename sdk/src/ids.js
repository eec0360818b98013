/* Ids that are in the order in which they are made. */

let lastMs = 0;

/* A UUIDv7: 48 bits of time, no two of one millisecond, and 18 random digits. */
export const newId = () => {
  lastMs = Math.max(Date.now(), lastMs + 1);
  const random = crypto.getRandomValues(new Uint32Array(3)).join("");
  return beginningOf(lastMs) + random.replace(/(.{3})(.{3})(.{12}).*/, "-7$1-8$2-$3");
};

/* How the ids of a time begin: later ones are greater. */
export const beginningOf = (ms) => `0${ms.toString(16)}`.replace(/.{8}/, "$&-");

/* Ids that are in the order in which they are made. */

let lastMs = 0;

/* A UUIDv7: 48 bits of time, no two of one millisecond, and 18 random digits. Later times have greater ids. */
export const newId = (ms = (lastMs = Math.max(Date.now(), lastMs + 1))) => {
  const random = crypto.getRandomValues(new Uint32Array(3)).join("");
  return `0${ms.toString(16)}${random}`.replace(/(.{8})(.{4})(.{3})(.{3})(.{12}).*/, "$1-$2-7$3-8$4-$5");
};

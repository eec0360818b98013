// Draws ids.

import { randomBytes } from "node:crypto";

const TIME_BYTES = 6;

/** Return a UUIDv7: 48 bits of the time in milliseconds, 74 random ones. It sorts by its time of birth. */
export function newId() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, TIME_BYTES);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

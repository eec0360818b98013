export { Client } from "./client.js";
export { newId } from "./ids.js";

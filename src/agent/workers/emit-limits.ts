/** Emit frames of a trigger that may be unanswered. */
export const EMIT_WINDOW = 16;
/** A frame is sent when it holds this many events or characters; a larger `Emit` of the plugin still goes as a whole. */
export const MAX_EMIT_EVENTS = 256;
export const MAX_EMIT_BYTES = 256 * 1024;

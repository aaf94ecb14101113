/** Set in the environment of a plugin host whose grant names no program: it calls `denyExec` before it loads the plugin. */
export const NO_EXEC_VARIABLE = "HOLDFAST_NO_EXEC";

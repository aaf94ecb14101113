const pad = (value: number) => String(value).padStart(2, "0");

/** Local time as ISO 8601 without milliseconds and zone: `2026-11-21T05:47:32`. What is no time stays as it is. */
export function localTime(time: string | null): string {
  if (time === null) return "-";
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return `${day}T${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** `5s ago`, `3m ago`, `2h ago`, `4d ago`; a time to come is `in 5m`. */
export function age(time: string | null, nowMs: number): string {
  if (time === null) return "never";
  const ms = nowMs - Date.parse(time);
  if (Number.isNaN(ms)) return "?";
  const text = roughly(Math.abs(ms));
  if (ms < -999) return `in ${text}`;
  return ms < 1000 ? "now" : `${text} ago`;
}

export function timeAndAge(time: string | null, nowMs: number): string {
  return time === null ? "-" : `${localTime(time)} (${age(time, nowMs)})`;
}

/** How long something took: `12ms`, `1.5s`, `3m20s`, `2h05m`; a dash while it is not over. */
export function took(startedAt: string | null, endedAt: string | null): string {
  if (startedAt === null || endedAt === null) return "-";
  const ms = Date.parse(endedAt) - Date.parse(startedAt);
  if (Number.isNaN(ms) || ms < 0) return "?";
  if (ms < 1000) return `${ms}ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${(ms / 1000).toFixed(1)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${pad(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${pad(Math.floor((seconds % 3600) / 60))}m`;
}

function roughly(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

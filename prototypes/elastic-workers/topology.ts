/**
 * What the four tools agree on: queues, and the flags that name them.
 *
 * ```
 * publisher -- request --> <app_id>_upload --> worker -- report --> DSTREPORT --> monitor -- scale request --> DSTSCALE --> scaler
 * ```
 *
 * All of them are reached through the default exchange, whose routing key is the queue's name.
 * @module
 */
import { type Flag, textFlag } from "@event-sink/lib";

/** An app's name is part of queues' names, files' names and URLs. */
const appName = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

/** Whether this can be the name of an app. */
export function isAppId(text: string): boolean {
  return appName.test(text);
}

/** Checks the name of an app. */
export function parseAppId(text: string): string {
  if (isAppId(text)) return text;
  throw new TypeError(
    `expected at most 64 letters, digits, dots, dashes and underscores, not '${text}'`,
  );
}

/** `--app-id`. */
export const appIdFlag: Flag<string> = textFlag("the app whose pool of workers this is about", {
  value: "ID",
  default: "e123456",
  parse: parseAppId,
});

/** `--upload-queuename`. */
export const uploadQueueFlag: Flag<string> = textFlag("queue of the requests to upload", {
  value: "NAME",
  default: "<app_id>_upload",
});

/** `--report-queuename`. */
export const reportQueueFlag: Flag<string> = textFlag("queue of the workers' reports", {
  value: "NAME",
  default: "DSTREPORT",
});

/** `--scale-queuename`. */
export const scaleQueueFlag: Flag<string> = textFlag("queue of the scale requests", {
  value: "NAME",
  default: "DSTSCALE",
});

/** The name of an app's upload queue, from `--upload-queuename`. */
export function uploadQueue(name: string, appId: string): string {
  return name.replace("<app_id>", appId);
}

/**
 * The queue where workers say that they have taken a request. It is there while there is a monitor; without one nobody needs to know. A monitor
 * of another make has none, and finds nothing unknown among its reports.
 */
export function startedQueue(reportQueue: string): string {
  return `${reportQueue}_started`;
}

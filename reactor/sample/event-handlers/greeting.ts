/** Runs in a thread of its own, without any permission: its entry in event-handlers.json gives none. */
export function greet({ event_type, payload }: { event_type: string; payload: unknown }): string {
  return `${event_type} says ${JSON.stringify(payload)}`;
}

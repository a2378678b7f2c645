/**
 * Keeps web pages of others away: they can make a browser send requests to a server on the user's own machine or network.
 * @module
 */
import { printable } from "../text.ts";
import type { Context, MiddlewareHandler } from "hono";

/** How a server may be called. */
export interface Names {
  /** The address that it listens on. */
  host: string;
  /** Further host names, such as that of a proxy in front of it. */
  allowedHosts: readonly string[];
}

/**
 * Refuses two kinds of requests, with the reason:
 *
 * - 421 for a `Host` that is none of the server's names. A page can point a name of its own at 127.0.0.1 and then read what it asks for as if
 *   from its own server (DNS rebinding).
 * - 403 for what a page of another origin sent, as the browser tells by `Origin` and `Sec-Fetch-Site`
 *   (https://www.w3.org/TR/fetch-metadata/). Following a link to this server stays possible.
 *
 * Programs other than browsers send neither header.
 *
 * @param key under which the JSON of a refusal says why (`error`)
 */
export function guard(names: Names, key = "error"): MiddlewareHandler {
  return async (context, next) => {
    const { host, hostname } = new URL(context.req.url);
    if (!isKnown(hostname.replace(/\.$/, ""), names)) {
      const name = printable(hostname, 100);
      const error =
        `this server does not answer to the name '${name}'; to permit it: --allowed-host ${name}`;
      return context.json({ [key]: error }, 421);
    }
    if (isFromAnotherOrigin(context, host)) {
      return context.json({ [key]: "requests of pages of another origin are refused" }, 403);
    }
    await next();
  };
}

function isKnown(hostname: string, { host, allowedHosts }: Names): boolean {
  const isAddress = /^(\d+\.){3}\d+$|^\[/.test(hostname);
  if (/^(.*\.)?localhost$|^127(\.\d+){3}$|^\[::1\]$/.test(hostname)) return true;
  // Names can be pointed anywhere, addresses cannot.
  if (isAddress && ["0.0.0.0", "::"].includes(host)) return true;
  return [host, `[${host}]`, ...allowedHosts].includes(hostname);
}

function isFromAnotherOrigin({ req }: Context, host: string): boolean {
  const origin = req.header("origin");
  if (origin !== undefined) return !URL.canParse(origin) || new URL(origin).host !== host;
  const site = req.header("sec-fetch-site") ?? "none";
  const followsLink = ["GET", "HEAD"].includes(req.method) &&
    req.header("sec-fetch-mode") === "navigate" && req.header("sec-fetch-dest") === "document";
  return !["none", "same-origin"].includes(site) && !followsLink;
}

/**
 * What a tool's live page is made of besides its own HTML: uPlot, and in `live.css` and `live.js` the theme, the plots and the connection. Texts are
 * imported, so that a compiled tool has them. `@event-sink/lib/page`.
 * @module
 */
import type { Hono } from "hono";
import uPlotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uPlotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
import { serveTexts } from "../http/app.ts";
import icon from "./icon.svg" with { type: "text" };
import liveStyle from "./live.css" with { type: "text" };
import liveScript from "./live.js" with { type: "text" };

/** A page's own files. The document links to `icon.svg`, `uplot.css`, `live.css`, `page.css`, and the scripts of the same names. */
export interface Page {
  /** The document. */
  html: string;
  /** `page.css`. */
  style: string;
  /** `page.js`. */
  script: string;
}

/**
 * Serves a page at `/`.
 *
 * @param app gets the routes
 */
export function servePage(app: Hono, { html, style, script }: Page): void {
  serveTexts(app, {
    "/": html,
    "/icon.svg": icon,
    "/uplot.css": uPlotStyle,
    "/live.css": liveStyle,
    "/page.css": style,
    "/uplot.js": uPlotScript,
    "/live.js": liveScript,
    "/page.js": script,
  });
}

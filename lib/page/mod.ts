/**
 * What a tool's live page is made of besides its own HTML: uPlot, and in `live.css` and `live.js` the theme, the plots and the connection. Texts are
 * imported, so that a compiled tool has them. `@event-sink/lib/page`.
 * @module
 */
import type { Hono } from "hono";
import { secureHeaders } from "hono/secure-headers";
import uPlotScript from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import uPlotStyle from "uplot/dist/uPlot.min.css" with { type: "text" };
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
 * Serves a page at `/`. Its headers, and those of all routes that follow, let it load nothing from elsewhere and stand in no other page.
 *
 * @param app gets the routes
 */
export function servePage(app: Hono, { html, style, script }: Page): void {
  app.use(secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      connectSrc: ["'self'"],
      imgSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
    strictTransportSecurity: false, // for the proxy that adds TLS to decide
  }));
  const files: [path: string, text: string, type: string][] = [
    ["/", html, "text/html"],
    ["/icon.svg", icon, "image/svg+xml"],
    ["/uplot.css", uPlotStyle, "text/css"],
    ["/live.css", liveStyle, "text/css"],
    ["/page.css", style, "text/css"],
    ["/uplot.js", uPlotScript, "text/javascript"],
    ["/live.js", liveScript, "text/javascript"],
    ["/page.js", script, "text/javascript"],
  ];
  for (const [path, text, type] of files) {
    app.get(
      path,
      (context) => context.body(text, 200, { "content-type": `${type}; charset=utf-8` }),
    );
  }
}

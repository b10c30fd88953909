/** Loradrop's mark, a drop, for pages that browsers show. */

/** The mark as SVG. */
export const MARK_SVG =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 -16 32 32"><path fill="#2f6fed" d="M0-15C4-8 10-1 10 5A10 10 0 0 1-10 5C-10-1-4-8 0-15Z"/></svg>';

/** The mark as an icon file of 16 and 32 pixels, which browsers ask for by themselves. */
export const MARK_ICO = Buffer.from(
  'AAABAAIAEBAAAAEAIABwAAAAJgAAACAgAAABACAApwAAAJYAAACJUE5HDQoaCgAAAA1JSERSAAAAEAAAABAIBgAAAB/z/2EAAAA3SURBVHjaY2AY1EA//+1/EKZIM9mGUGQAumaSDaHIAFyaiTKEkGaChgwDAygORKqlA6okZWIBAGk233EhsCMDAAAAAElFTkSuQmCCiVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAYAAABzenr0AAAAbklEQVR42u3XSw4AEAxFUTuyNCu3BmJgIhG05TXaJsb3DMQnBB/GxJRLWzYBPQ5DQAFj/CliFn+GgAJW8esIKGA3fgVxGhdHQAHUuBgCCuDG2QjbAKk4GQEH+B5QAfCTUM1tCH8PqHqUqvqafTEVeF5kijOVg5EAAAAASUVORK5CYII=',
  'base64',
);

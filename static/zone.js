/** The browser's time zone, for the pages that the server writes. */
const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (name) document.cookie = `zone=${encodeURIComponent(name)}; path=/; max-age=31536000; samesite=lax`;

// Moments in the reader's time zone, as the server's pages write them: "16:24:01 UTC+8".
const timeZone = document.querySelector('meta[name="time-zone"]')?.content || undefined;
const named = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "shortOffset" });

// `style`: dateStyle and timeStyle of Intl.DateTimeFormat.
export function written(moment, style) {
  const when = new Date(moment);
  const { value } = named.formatToParts(when).find(({ type }) => type === "timeZoneName"); // GMT+8
  return `${new Intl.DateTimeFormat("sv-SE", { timeZone, ...style }).format(when)} ${value.replace("GMT", "UTC")}`;
}

export const clock = (moment) => written(moment, { timeStyle: "medium" });

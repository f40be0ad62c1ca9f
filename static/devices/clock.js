// The time of day in the reader's language and time zone, as the server's pages write it.
const zone = document.querySelector('meta[name="time-zone"]')?.content;
const style = { timeZone: zone || undefined, timeStyle: "medium" };

export const clock = (moment) => new Date(moment).toLocaleTimeString(document.documentElement.lang || undefined, style);

// Nothing moves or changes under a finger: a button that is replaced while it is pressed would not be clicked.

const LONGEST = 10_000; // ms: a longer press is not waited for

let press = Promise.resolve();
addEventListener(
  "pointerdown",
  () => {
    press = new Promise((end) => {
      // The click follows the end of the press at once.
      const soon = () => setTimeout(end);
      for (const type of ["pointerup", "pointercancel"]) addEventListener(type, soon, { once: true, capture: true });
      setTimeout(end, LONGEST);
    });
  },
  { capture: true },
);

// Resolves once no pointer is pressed.
export const released = () => press;

// The service's page, loaded again every ten seconds, unless somebody types in it.
"use strict";
setInterval(() => {
  const fields = [...document.querySelectorAll("input, select")];
  const busy = fields.some((field) => field === document.activeElement || (field.type !== "checkbox" && field.value !== field.defaultValue && field.value));
  if (!busy && !document.hidden) location.reload();
}, 10000);

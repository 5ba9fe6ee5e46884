// Before the first paint, so that nobody sees the wrong colours flash.
document.documentElement.classList.replace("no-script", "has-script");
try {
  const theme = localStorage.getItem("cgoleak-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Files opened from disk may have no storage.
}

// The theme: that of the system, or one chosen by hand and kept.

function startTheme() {
  const button = $("theme");
  const names = { "": T("Theme: system"), light: T("Theme: light"), dark: T("Theme: dark") };
  const root = document.documentElement;
  const show = () => { button.textContent = names[root.dataset.theme ?? ""]; };
  button.addEventListener("click", () => {
    const order = ["", "light", "dark"];
    const next = order[(order.indexOf(root.dataset.theme ?? "") + 1) % 3];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      if (next) localStorage.setItem("cgoleak-theme", next);
      else localStorage.removeItem("cgoleak-theme");
    } catch {
      // It holds for as long as the page is open.
    }
    show();
  });
  show();
}

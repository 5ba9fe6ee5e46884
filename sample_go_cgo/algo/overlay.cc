// What is drawn over a thumbnail: a frame, and the title as bars. C++ as one finds it under many a Go service.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "counters.h"
#include "fault.h"

extern "C" {
// image.h has a flexible array member, which C++ does not know.
struct image {
  uint32_t w, h;
};
void overlay_render(struct image *im, const char *title, uint64_t seq);
}

namespace thumb {

class Canvas {
 public:
  explicit Canvas(struct image *im)
      : px_(reinterpret_cast<uint8_t *>(im) + sizeof *im), w_(im->w), h_(im->h) {}
  void dot(uint32_t x, uint32_t y, uint8_t v) {
    if (x < w_ && y < h_) px_[static_cast<std::size_t>(y) * w_ + x] = v;
  }
  uint32_t width() const { return w_; }
  uint32_t height() const { return h_; }

 private:
  uint8_t *px_;
  uint32_t w_, h_;
};

class Layer {
 public:
  virtual ~Layer() = default;
  virtual void draw(Canvas &on) const = 0;
  virtual enum counted made_at() const = 0;
  virtual std::size_t size() const = 0;

  Layer(const Layer &) = delete;
  Layer &operator=(const Layer &) = delete;

 protected:
  explicit Layer(uint8_t ink) : ink_(ink) {}
  uint8_t ink_;
};

class FrameLayer final : public Layer {
 public:
  FrameLayer(uint8_t ink, uint32_t width) : Layer(ink), width_(width) {}
  void draw(Canvas &on) const override {
    for (uint32_t i = 0; i < width_; i++)
      for (uint32_t x = 0; x < on.width(); x++) {
        on.dot(x, i, ink_);
        on.dot(x, on.height() - 1 - i, ink_);
      }
  }
  enum counted made_at() const override { return AT_make_frame_layer; }
  std::size_t size() const override { return sizeof *this; }

 private:
  uint32_t width_;
};

class TextLayer final : public Layer {
 public:
  TextLayer(uint8_t ink, const std::string &text);
  ~TextLayer() override { if (on_heap(text_)) count_free(AT_text_layer_text, text_.capacity() + 1); }
  void draw(Canvas &on) const override {
    for (std::size_t i = 0; i < text_.size(); i++)
      on.dot(static_cast<uint32_t>(i), 2 + static_cast<uint8_t>(text_[i]) % 8U, ink_);
  }
  enum counted made_at() const override { return AT_make_text_layer; }
  std::size_t size() const override { return sizeof *this; }

 private:
  static bool on_heap(const std::string &s) { return s.capacity() > std::string().capacity(); }
  std::string text_;
};

OWN_FRAME TextLayer::TextLayer(uint8_t ink, const std::string &text) : Layer(ink), text_(text) {
  if (on_heap(text_)) count_alloc(AT_text_layer_text, text_.capacity() + 1);
}

OWN_FRAME Layer *make_text_layer(uint8_t ink, const std::string &text) {
  Layer *made = new TextLayer(ink, text);
  count_alloc(AT_make_text_layer, sizeof(TextLayer));
  return made;
}

OWN_FRAME Layer *make_frame_layer(uint8_t ink, uint32_t width) {
  Layer *made = new FrameLayer(ink, width);
  count_alloc(AT_make_frame_layer, sizeof(FrameLayer));
  return made;
}

class Overlay {
 public:
  Overlay();
  ~Overlay();
  Overlay(const Overlay &) = delete;
  Overlay &operator=(const Overlay &) = delete;

  void add(Layer *owned) { layers_.push_back(owned); }
  void draw(Canvas &on) const;
  // Gives up the last layer to the caller.
  Layer *detach_last();

 private:
  static constexpr std::size_t most = 8;
  std::vector<Layer *> layers_;
};

OWN_FRAME Overlay::Overlay() {
  layers_.reserve(most);
  count_alloc(AT_overlay_layers, layers_.capacity() * sizeof(Layer *));
}

OWN_FRAME Overlay::~Overlay() {
  for (Layer *l : layers_) {
    count_free(l->made_at(), l->size());
    delete l;
  }
  count_free(AT_overlay_layers, layers_.capacity() * sizeof(Layer *));
}

void Overlay::draw(Canvas &on) const {
  for (const Layer *l : layers_) l->draw(on);
}

Layer *Overlay::detach_last() {
  Layer *last = layers_.back();
  layers_.pop_back();
  return last;
}

// Title in one to three bars; the bars beyond the first are drawn and taken off again.
OWN_FRAME void draw_title(Overlay &overlay, Canvas &canvas, const std::string &title, uint64_t seq) {
  overlay.add(make_text_layer(255, title));
  for (uint64_t bar = 0; bar < 2 + seq % 2; bar++) {
    overlay.add(make_text_layer(static_cast<uint8_t>(32 * bar), title));
    overlay.draw(canvas);
    Layer *gone = overlay.detach_last();
    // The bug: "detach" reads as if it deleted.
    if (fault_on(FAULT_CPP_LEAK)) continue;
    count_free(gone->made_at(), gone->size());
    delete gone;
  }
}

}  // namespace thumb

OWN_FRAME void overlay_render(struct image *im, const char *title, uint64_t seq) {
  // A string_view would do; a caller who copies is what one meets. It is counted nowhere else, so it must not allocate
  // under a counted name: it is made here, and here is not counted.
  const std::string text(title);
  thumb::Canvas canvas(im);
  thumb::Overlay overlay;
  overlay.add(thumb::make_frame_layer(128, 2));
  thumb::draw_title(overlay, canvas, text, seq);
  overlay.draw(canvas);
}

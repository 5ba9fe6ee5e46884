//go:build !go1.24

package algo

// NewTextureWithCleanup fails: this Go has no cleanups.
func NewTextureWithCleanup(int) (*Texture, error) { return nil, ErrNoCleanups }

// HasCleanups says whether this Go has runtime.AddCleanup.
const HasCleanups = false

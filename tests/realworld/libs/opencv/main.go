// Keeps some of gocv's handles and closes others, as a test says.
package main

import (
	"image"
	"image/color"

	"gocv.io/x/gocv"

	"example.org/obey"
)

var mats []gocv.Mat
var vectors []gocv.PointVector

func keepMats() { mats = append(mats, gocv.NewMatWithSize(8, 8, gocv.MatTypeCV8UC3)) }

func closeMats() {
	one := gocv.NewMatWithSize(8, 8, gocv.MatTypeCV8UC3)
	one.Close()
}

// keepRegion gives up the matrix and not the view of it.
func keepRegion() {
	one := gocv.NewMatWithSize(16, 16, gocv.MatTypeCV8UC1)
	defer one.Close()
	mats = append(mats, one.Region(image.Rect(0, 0, 4, 4)))
}

// keepClones gives up every second.
func keepClones() {
	one := gocv.Zeros(4, 4, gocv.MatTypeCV8UC1)
	mats = append(mats, one.Clone())
	one.Close()
}

func split() {
	one := gocv.NewMatWithSizeFromScalar(gocv.NewScalar(1, 2, 3, 0), 8, 8, gocv.MatTypeCV8UC3)
	defer one.Close()
	channels := gocv.Split(one)
	for i := range channels[1:] {
		channels[i+1].Close()
	}
	mats = append(mats, channels[0])
}

func contours() {
	one := gocv.NewMatWithSize(32, 32, gocv.MatTypeCV8UC1)
	defer one.Close()
	gocv.Rectangle(&one, image.Rect(4, 4, 20, 20), color.RGBA{255, 255, 255, 0}, -1)
	found := gocv.FindContours(one, gocv.RetrievalExternal, gocv.ChainApproxSimple)
	defer found.Close()
	vectors = append(vectors, gocv.ApproxPolyDP(found.At(0), 1, true))
}

func detectors() {
	one := gocv.NewORB()
	one.Close()
	other := gocv.NewCLAHE()
	other.Close()
}

func keepDetector() { _ = gocv.NewBFMatcher() }

func main() {
	obey.Lines(map[string]func(int){
		"keepMats": obey.Each(keepMats), "closeMats": obey.Each(closeMats), "keepRegion": obey.Each(keepRegion),
		"keepClones": obey.Each(keepClones), "split": obey.Each(split), "contours": obey.Each(contours),
		"detectors": obey.Each(detectors), "keepDetector": obey.Each(keepDetector),
	})
}
